"""The delay: echoes with feedback, as a send."""
