"""The doctor's way to a host and back: what is asked, how it is reached, and what is handed on to others.

ship     the modules that gather, sent along and run from memory
visit    asks a host in one round trip
reach    looks from here at a host that cannot be asked
bundle   what others need to help
"""
