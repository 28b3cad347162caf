"""The options of the commands, a file for each subject: every option is defined once, whoever takes it.

A group is an `OptionGroup`, which `cli.spreading` makes options of; its methods turn them into what the program takes.
"""
