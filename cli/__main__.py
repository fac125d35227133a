"""``python -m numbaconv_cli`` is the command ``numbaconv``."""

from .main import main

main()
