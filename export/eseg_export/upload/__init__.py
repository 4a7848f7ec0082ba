"""A package to the zoo's artifact service, as a staged draft: what is sent, the protocol, and going on after a break.

docs/upload.md tells the protocol and how each part of it is known. The live service was not reached.
"""
