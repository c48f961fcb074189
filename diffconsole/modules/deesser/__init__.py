"""The de-esser: split-band, with a threshold relative to the whole voice."""
