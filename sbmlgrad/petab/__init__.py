"""PEtab problems: what their files say, and how well a model explains their data.

The only room with libpetab, which reads and checks the tables and parses formulas.
"""
