"""LiveKit's realtime protocol: signalling over a WebSocket, two peer connections, data packets."""
