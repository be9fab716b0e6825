# needs: node
cat > t.js <<'J'
const { Worker, isMainThread, parentPort } = require('worker_threads'); const cp = require('child_process'); const fs = require('fs'); const crypto = require('crypto');
if (!isMainThread) { parentPort.postMessage('worker ' + 6 * 7); } else {
  console.log(cp.execSync('echo sync').toString().trim());
  const w = new Worker(__filename); w.on('message', m => { console.log(m);
    const c = cp.spawn('sh', ['-c', 'cat; exit 4']); c.stdout.on('data', d => console.log('' + d)); c.on('close', code => { console.log('code', code);
      fs.writeFileSync('f', 'data'); fs.promises.readFile('f', 'utf8').then(t => { console.log(t, fs.statSync('f').size);
        crypto.pbkdf2('a', 'b', 1000, 16, 'sha256', (e, k) => { console.log(k.toString('hex'));
          const s = require('net').createServer(x => x.end('srv')); s.listen('./sock', () => { const k2 = require('net').connect('./sock'); k2.on('data', d => console.log('' + d)); k2.on('close', () => { s.close(); setTimeout(() => console.log('timer'), 20); }); }); }); }); });
    c.stdin.end('to child'); }); }
J
timeout 60 node t.js; node -e 'process.exit(5)'; echo $?; node -p '[1,2,3].map(x=>x*2).join()'
