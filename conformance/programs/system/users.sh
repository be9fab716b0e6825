# needs: su sudo root
su nobody -s /bin/sh -c 'id -un; id -u; touch /etc/x 2>&1 | head -1; cat /etc/shadow 2>&1 | wc -l'; su -s /bin/sh daemon -c 'echo $HOME; umask'
sudo -n -u nobody id -un; sudo -n sh -c 'echo root $(id -u)'; setpriv --reuid=65534 --clear-groups id -u; setpriv --reuid=65534 --clear-groups --no-new-privs sh -c 'grep NoNewPrivs /proc/self/status'; chown nobody:nogroup . && su nobody -s /bin/sh -c 'touch mine; stat -c "%U %a" mine'; capsh --print 2>/dev/null | head -0; newgrp --help 2>/dev/null | head -0; runuser -u nobody -- whoami
