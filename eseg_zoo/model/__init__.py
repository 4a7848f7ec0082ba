"""The network: what is exported (`dense`), and what training adds to it (`hvae`, `prior`)."""
