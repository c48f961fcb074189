"""Encoder and head, that is the predictor, and what it knows: voices, switches, references."""
