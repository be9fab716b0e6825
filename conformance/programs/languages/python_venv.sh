# needs: /usr/bin/python3
/usr/bin/python3 -c 'import venv' 2>/dev/null || exit 0
/usr/bin/python3 -m venv --without-pip v && v/bin/python -c 'import sys; print(sys.prefix != sys.base_prefix)'; ls v | sort
