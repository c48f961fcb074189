"""The reverb: decaying noise by bands, convolved."""
