"""Fine-tuning on a studio's own pairs."""
