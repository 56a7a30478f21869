"""The Cloudflare Realtime SFU API: its HTTPS calls as operations on the shared core."""
