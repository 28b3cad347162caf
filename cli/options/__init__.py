"""The options of the commands, a file for each subject: every option is defined once, whoever takes it.

A group is a dataclass that `cli.spreading` makes options of; its methods turn them into what the program works with.
"""
