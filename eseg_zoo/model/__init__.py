"""The network: shape (`architecture`), what is exported (`dense`), what training adds (`hvae`, `latent`, `prior`)."""
