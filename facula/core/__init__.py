"""Values without behaviour: dtypes, devices, shapes, storages, the Tensor record, modes, random state."""
