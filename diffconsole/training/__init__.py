"""Training: simulated raw vocals, pretraining on them, fine-tuning on a studio's pairs."""
