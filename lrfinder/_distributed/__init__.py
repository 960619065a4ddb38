"""The range test on several processes, and models that are sharded or prepared by Accelerate.

It stands below `_sweep`, which sees a process group as its `Communicator`, and may import
`_snapshot` and `_errors`. Read `process_group`, then `coordinator`, then the small modules.
"""
