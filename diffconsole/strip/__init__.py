"""What a strip is, without torch: parameters, presets, schema, statistics of real mixes."""
