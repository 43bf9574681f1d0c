"""Better pictures: small ones enlarged, dark ones lightened; offered to their owner beside the one that was sent, which is kept."""
