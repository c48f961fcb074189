"""Pretraining on simulated raw vocals, which need no pairs."""
