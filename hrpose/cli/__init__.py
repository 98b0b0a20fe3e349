"""The command line: one command per file, each a function of the file's name.

A command is parse, build, one library call, report. It imports what is heavy inside its body, so
that ``hrpose --help`` stays quick. It returns its exit code, or None for 0; results go to stdout,
everything else to stderr; failures are raised as :class:`~hrpose.errors.HrposeError`.
"""
