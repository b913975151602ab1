// Operations with Go's pkg/sftp, one a line of the input: PORT USER KEY. tests/clients/scripted.rs says how they are answered.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

func connect(port, user, keyFile string) (*sftp.Client, error) {
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, err
	}
	connection, err := ssh.Dial("tcp", "127.0.0.1:"+port, &ssh.ClientConfig{
		User:            user,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		Timeout:         10 * time.Minute,
	})
	if err != nil {
		return nil, err
	}
	return sftp.NewClient(connection, sftp.UseConcurrentWrites(true))
}

type home struct{ *sftp.Client }

func (h home) put(local, remote string) error {
	source, err := os.Open(local)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := h.Create(remote)
	if err != nil {
		return err
	}
	_, err = target.ReadFrom(source)
	return errors.Join(err, target.Close())
}

func (h home) get(remote, local string) error {
	source, err := h.Open(remote)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.Create(local)
	if err != nil {
		return err
	}
	_, err = source.WriteTo(target)
	return errors.Join(err, target.Close())
}

func (h home) putTree(local, remote string) error {
	return filepath.WalkDir(local, func(here string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		there := path.Join(remote, strings.TrimPrefix(here, local))
		if entry.IsDir() {
			return h.MkdirAll(there)
		}
		return h.put(here, there)
	})
}

func (h home) getTree(remote, local string) error {
	walker := h.Walk(remote)
	for walker.Step() {
		if err := walker.Err(); err != nil {
			return err
		}
		here := filepath.Join(local, strings.TrimPrefix(walker.Path(), remote))
		var err error
		if walker.Stat().IsDir() {
			err = os.Mkdir(here, 0o755)
		} else {
			err = h.get(walker.Path(), here)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h home) putTimed(local, remote string) error {
	found, err := os.Stat(local)
	if err != nil {
		return err
	}
	return errors.Join(h.put(local, remote), h.Chtimes(remote, found.ModTime(), found.ModTime()))
}

func (h home) getTimed(remote, local string) error {
	found, err := h.Stat(remote)
	if err != nil {
		return err
	}
	return errors.Join(h.get(remote, local), os.Chtimes(local, found.ModTime(), found.ModTime()))
}

func (h home) list(folder string) (string, error) {
	entries, err := h.ReadDir(folder)
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return strings.Join(names, "\n"), err
}

func (h home) stat(name string) (string, error) {
	found, err := h.Stat(name)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %d", found.Size(), found.ModTime().Unix()), nil
}

// The file has its name before it is closed: a deferred Close, with the rename at the end of the function.
func (h home) renameBeforeClose(local, remote string) error {
	content, err := os.ReadFile(local)
	if err != nil {
		return err
	}
	target, err := h.Create(remote + ".part")
	if err != nil {
		return err
	}
	defer target.Close()
	if _, err := io.Copy(target, bytes.NewReader(content)); err != nil {
		return err
	}
	if found, err := target.Stat(); err != nil || found.Size() != int64(len(content)) {
		return fmt.Errorf("%v: %v", found, err)
	}
	return h.PosixRename(remote+".part", remote)
}

// As the one before, of a folder above the file.
func (h home) renameFolderBeforeClose(local, remote string) error {
	content, err := os.ReadFile(local)
	if err != nil {
		return err
	}
	if err := h.Mkdir(remote + ".part"); err != nil {
		return err
	}
	target, err := h.Create(remote + ".part/file")
	if err != nil {
		return err
	}
	defer target.Close()
	if _, err := target.Write(content); err != nil {
		return err
	}
	return h.Rename(remote+".part", remote)
}

// Given up before it is closed, and begun again with less.
func (h home) beginAgain(remote string) error {
	abandoned, err := h.Create(remote)
	if err != nil {
		return err
	}
	defer abandoned.Close()
	if _, err := abandoned.Write(make([]byte, 5120)); err != nil {
		return err
	}
	if err := h.Remove(remote); err != nil {
		return err
	}
	again, err := h.Create(remote)
	if err != nil {
		return err
	}
	if _, err := again.Write(make([]byte, 100)); err != nil {
		return err
	}
	if err := again.Close(); err != nil {
		return err
	}
	found, err := h.Stat(remote)
	if err != nil || found.Size() != 100 {
		return fmt.Errorf("%v: %v", found, err)
	}
	if err := h.Chtimes(remote, time.Unix(1_000_000_000, 0), time.Unix(1_000_000_000, 0)); err != nil {
		return err
	}
	found, err = h.Stat(remote)
	if err != nil || found.ModTime().Unix() != 1_000_000_000 {
		return fmt.Errorf("%v: %v", found, err)
	}
	return nil
}

func (h home) perform(operation, one, two string) (string, error) {
	switch operation {
	case "put":
		return "", h.put(one, two)
	case "get":
		return "", h.get(one, two)
	case "put_tree":
		return "", h.putTree(one, two)
	case "get_tree":
		return "", h.getTree(one, two)
	case "put_timed":
		return "", h.putTimed(one, two)
	case "get_timed":
		return "", h.getTimed(one, two)
	case "list":
		return h.list(one)
	case "stat":
		return h.stat(one)
	case "rename":
		return "", h.Rename(one, two)
	case "remove":
		return "", h.Remove(one)
	case "mkdir":
		return "", h.Mkdir(one)
	case "rmdir":
		return "", h.RemoveDirectory(one)
	case "remove_tree":
		return "", h.RemoveAll(one)
	case "rename_before_close":
		return "", h.renameBeforeClose(one, two)
	case "rename_folder_before_close":
		return "", h.renameFolderBeforeClose(one, two)
	case "begin_again":
		return "", h.beginAgain(one)
	}
	return "", fmt.Errorf("no operation %q", operation)
}

func main() {
	client, err := connect(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer client.Close()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := append(strings.Split(lines.Text(), "\t"), "", "")
		given, err := home{client}.perform(words[0], words[1], words[2])
		if err != nil {
			fmt.Printf("error\t%T\t%s\n", err, strings.Join(strings.Fields(err.Error()), " "))
			continue
		}
		for _, text := range strings.Split(given, "\n") {
			if text != "" {
				fmt.Println(" " + text)
			}
		}
		fmt.Println("ok")
	}
}
