// Calls makes one call of one official Go client for each line of standard input. The first line has the settings, in
// JSON: client, endpoint, protocol, region, key, secret, ca (PEM text or nothing), attempts (of one call, by the client's
// own retries); each later one: product, version, action, parameters (nested), flat. It prints a line for each: the body,
// or the code, text, status (0: no answer) and, where the client knows it, the time to wait in milliseconds of an error.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

const timeoutMillis = 60000 // of one request; the clients' own limits are too short for a machine under load

type settings struct {
	Client, Endpoint, Protocol, Region, Key, Secret, Ca string
	Attempts                                            int
}

type asked struct {
	Product, Version, Action string
	Parameters               json.RawMessage
	Flat                     map[string]string
}

// problem is an error as the client reported it.
type problem struct {
	Code       string `json:"code"`
	Text       string `json:"text"`
	Status     int    `json:"status"`
	RetryAfter int64  `json:"retry_after,omitempty"`
}

type call func(asked) (any, error)

var clients = map[string]func(settings) (call, error){
	"generic v3":  func(s settings) (call, error) { return generic(s, "") },
	"generic v1":  func(s settings) (call, error) { return generic(s, "v2") }, // the client's name for signature version 1
	"ecs20140526": typed,
	"legacy":      legacy,
}

func answer(do call, line []byte) any {
	var request asked
	if err := json.Unmarshal(line, &request); err != nil {
		return problem{Code: "BadLine", Text: err.Error()}
	}
	body, err := do(request)
	if err != nil {
		return describe(err)
	}
	return map[string]any{"body": body}
}

func begin(line []byte) (call, error) {
	var given settings
	if err := json.Unmarshal(line, &given); err != nil {
		return nil, err
	}
	made, ok := clients[given.Client]
	if !ok {
		return nil, fmt.Errorf("no client %q", given.Client)
	}
	return made(given)
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	var do call
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var answered any = struct{}{}
		if do == nil {
			if do, err = begin(line); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		} else {
			answered = answer(do, line)
		}
		if err := out.Encode(answered); err != nil {
			os.Exit(1)
		}
	}
}
