"""Who is who: the local CA, certificates, join tokens, API keys. Cryptography and files; no SQL, no gRPC, no clock."""
