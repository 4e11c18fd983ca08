module qnc

go 1.26.0
