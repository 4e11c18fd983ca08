//go:build linux || darwin

package app

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

func ioctl(f *os.File, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// rawMode makes a terminal hand over each key as it is typed, without an echo.
// What is printed is treated as before.
func rawMode(f *os.File) (restore func(), err error) {
	var old syscall.Termios
	if err := ioctl(f, getTermios, unsafe.Pointer(&old)); err != nil {
		return nil, err
	}
	raw := old
	raw.Iflag &^= syscall.ICRNL | syscall.INLCR | syscall.IGNCR | syscall.ISTRIP | syscall.IXON
	raw.Lflag &^= syscall.ICANON | syscall.ECHO | syscall.ISIG | syscall.IEXTEN
	raw.Cc[syscall.VMIN], raw.Cc[syscall.VTIME] = 1, 0
	if err := ioctl(f, setTermios, unsafe.Pointer(&raw)); err != nil {
		return nil, err
	}
	return func() { ioctl(f, setTermios, unsafe.Pointer(&old)) }, nil
}

// termWidth is the number of cells of a terminal's row.
func termWidth(f *os.File) int {
	var size struct{ rows, cols, x, y uint16 }
	if err := ioctl(f, syscall.TIOCGWINSZ, unsafe.Pointer(&size)); err != nil || size.cols == 0 {
		return 80
	}
	return int(size.cols)
}

// suspend does what Ctrl-Z does and returns when the program goes on.
func suspend() {
	syscall.Kill(0, syscall.SIGTSTP)
	time.Sleep(50 * time.Millisecond) // the signal may come to another thread
}
