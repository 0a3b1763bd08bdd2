"""Tools around training: `data` feeds batches."""
