"""The command line of numbaconv: parse, call, print.

The folder is called ``cli`` and is installed as ``numbaconv_cli``. Modules here import each other relatively, so that
both names work, and import ``numbaconv`` inside their functions, so that ``--help`` and ``--version`` are instant.
"""
