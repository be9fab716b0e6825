# needs: git
export HOME=$PWD GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' GIT_CONFIG_NOSYSTEM=1
git config --global user.name n; git config --global user.email e@x; git config --global init.defaultBranch main
git init -q r && cd r && for i in $(seq 1 100); do echo $i > f$i; done && git add . && git commit -qm first && echo x >> f1 && git commit -qam second && git log --oneline && git status --short && git diff HEAD~ --stat
git checkout -qb side && echo s > side && git add side && git commit -qm side && git checkout -q main && git merge -q side -m m && git log --oneline | wc -l
cd .. && git clone -q r c && cd c && git gc -q && git fsck 2>&1 | wc -l && git log --oneline | head -1 && git grep -c x f1 && git stash list && git tag v1 && git describe --tags && git archive HEAD | tar t | wc -l
