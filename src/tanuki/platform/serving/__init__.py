"""The model server: batching, cache, and the Open Inference Protocol over REST and gRPC."""
