"""A range test on several processes; imported only where there is a process group.

The rest of the library sees it as `Peers`, by `lrfinder._sweep.communicator`.
"""
