"""Memory of GPUs and page-locked memory of the host: pools, counts, what is said when there is none left."""
