-- Lua as Redis and Valkey run it: 5.1, no way out of the server, and the libraries that both have.
stds.redis = { read_globals = { "redis", "KEYS", "ARGV", "bit", "cjson", "cmsgpack", "struct" } }
std = "lua51+redis"
not_globals = { "dofile", "io", "loadfile", "module", "os", "package", "print", "require" }
-- The lines of constants are written by Python.
max_line_length = false
