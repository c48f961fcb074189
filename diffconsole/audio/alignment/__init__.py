"""Where a mix lies in time beside the raw vocal: lag, drift, polarity, what both hold."""
