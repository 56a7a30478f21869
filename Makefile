.PHONY: serve test check bench fuzz
MIN ?= 10

serve: ; @tools/run serve
test: ; @tools/run test
check: ; @tools/run check
bench: ; @tools/run bench
fuzz: ; @tools/run fuzz --minutes $(MIN)
