"""Go: the generic client."""

from backfleet.samples._call import SampleCall, Value
from backfleet.samples._quoting import go as quoted
from backfleet.samples._texts import AUTHORITY, KEY_ID, SECRET, TIMEOUT_MS, TOKEN, commented, header

MODULES = "`go get github.com/alibabacloud-go/darabonba-openapi/v2 github.com/alibabacloud-go/tea`"


def write(call: SampleCall) -> str:
    """Return the code."""
    return f"""{commented(header(call, MODULES), "//")}
package main

import (
	"encoding/json"
	"fmt"
	"os"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	"github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/dara"
)

func main() {{
	if err := call(); err != nil {{
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}}
}}

func call() error {{
{_config(call)}
{_parameters(call)}
{_calling(call)}"""


def _calling(call: SampleCall) -> str:
    operation = call.operation
    sent = "Query: parameters, Stream: file" if operation.streams else "Body: parameters"
    return f"""	operation := &utils.Params{{
		Action:      dara.String({quoted(operation.name)}),
		Version:     dara.String({quoted(operation.product.version)}),
		Protocol:    config.Protocol,
		Method:      dara.String("POST"),
		AuthType:    dara.String("AK"),
		Style:       dara.String("RPC"),
		Pathname:    dara.String("/"),
		ReqBodyType: dara.String("formData"),
		BodyType:    dara.String("json"),
	}}
	client, err := openapi.NewClient(config)
	if err != nil {{
		return err
	}}
	found, err := client.CallApi(operation, &utils.OpenApiRequest{{{sent}}}, &dara.RuntimeOptions{{}})
	if err != nil {{
		return err
	}}
	answer, _ := found["body"].(map[string]interface{{}})
	if answer["Success"] == false {{
		return fmt.Errorf("%v: %v (RequestId %v)", answer["Code"], answer["Message"], answer["RequestId"])
	}}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(answer)
}}
"""


def _config(call: SampleCall) -> str:
    return f"""	config := &utils.Config{{
		AccessKeyId:     dara.String(os.Getenv("{KEY_ID}")),
		AccessKeySecret: dara.String(os.Getenv("{SECRET}")),
		Endpoint:        dara.String({quoted(call.target.endpoint)}),
		Protocol:        dara.String({quoted(call.target.protocol)}),
		RegionId:        dara.String({quoted(call.target.region)}),
		ReadTimeout:     dara.Int({TIMEOUT_MS}),
		ConnectTimeout:  dara.Int({TIMEOUT_MS}),
	}}
	if token := os.Getenv("{TOKEN}"); token != "" {{
		config.SecurityToken = dara.String(token)
	}}
	if authority := os.Getenv("{AUTHORITY}"); authority != "" {{
		text, err := os.ReadFile(authority)
		if err != nil {{
			return err
		}}
		config.Ca = dara.String(string(text))
	}}"""


def _parameters(call: SampleCall) -> str:
    streams = call.operation.streams
    kind, wrap = ("map[string]*string", "dara.String({})") if streams else ("map[string]interface{}", "{}")
    pairs = "".join(f"\t\t{quoted(value.name)}: {wrap.format(_text(value))},\n" for value in call.values)
    made = f"\tparameters := {kind}{{\n{pairs}\t}}" if pairs else f"\tparameters := {kind}{{}}"
    if not streams:
        return made
    return f"""{made}
	file, err := os.Open({quoted(call.file)})
	if err != nil {{
		return err
	}}
	defer file.Close()"""


def _text(value: Value) -> str:
    return f'os.Getenv("{value.variable}")' if value.variable else quoted(value.text)
