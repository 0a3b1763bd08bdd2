"""The machines that kernels run on, a folder each; a target knows the IR and its own machine, no operator."""
