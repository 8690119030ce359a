module filters

go 1.24
