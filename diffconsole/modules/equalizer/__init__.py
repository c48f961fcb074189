"""The equalizer: a cascade of second-order sections."""
