"""From a kernel of the IR to CUDA C++: nothing here knows a driver."""
