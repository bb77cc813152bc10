"""Ray actors kept alive: started, watched, restarted, drained; probes and status on the node's port."""
