package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	ecs "github.com/alibabacloud-go/ecs-20140526/v7/client"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/alibabacloud-go/tea/tea"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	legacyerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
)

func config(given settings, algorithm string) *openapiutil.Config {
	made := &openapiutil.Config{
		AccessKeyId: dara.String(given.Key), AccessKeySecret: dara.String(given.Secret),
		Endpoint: dara.String(given.Endpoint), Protocol: dara.String(given.Protocol), RegionId: dara.String(given.Region),
		ReadTimeout: dara.Int(timeoutMillis), ConnectTimeout: dara.Int(timeoutMillis),
	}
	if algorithm != "" {
		made.SignatureAlgorithm = dara.String(algorithm)
	}
	if given.Ca != "" {
		made.Ca = dara.String(given.Ca)
	}
	if given.Attempts > 1 { // delays are milliseconds by their names, but the client sleeps as many seconds
		made.RetryOptions = &dara.RetryOptions{Retryable: true, RetryCondition: []*dara.RetryCondition{{
			MaxAttempts: given.Attempts, MaxDelay: 1, Backoff: &dara.FixedBackoffPolicy{Period: 1},
			ErrorCode: []string{"Throttling.User", "ServiceUnavailable"},
		}}}
	}
	return made
}

func generic(given settings, algorithm string) (call, error) {
	client, err := openapi.NewClient(config(given, algorithm))
	if err != nil {
		return nil, err
	}
	return func(request asked) (any, error) {
		query := map[string]*string{}
		for name, value := range request.Flat {
			query[name] = dara.String(value)
		}
		found, err := client.CallApi(&openapiutil.Params{
			Action: dara.String(request.Action), Version: dara.String(request.Version), Protocol: dara.String(given.Protocol),
			Pathname: dara.String("/"), Method: dara.String("POST"), AuthType: dara.String("AK"), Style: dara.String("RPC"),
			ReqBodyType: dara.String("formData"), BodyType: dara.String("json"),
		}, &openapiutil.OpenApiRequest{Query: query}, &dara.RuntimeOptions{})
		if err != nil {
			return nil, err
		}
		return found["body"], nil
	}, nil
}

// typed reads the request into its model, and writes the answer from its model.
func typed(given settings) (call, error) {
	client, err := ecs.NewClient(config(given, ""))
	if err != nil {
		return nil, err
	}
	return func(request asked) (any, error) {
		method := reflect.ValueOf(client).MethodByName(request.Action)
		if !method.IsValid() {
			return nil, fmt.Errorf("the client has no %s", request.Action)
		}
		model := reflect.New(method.Type().In(0).Elem())
		if err := json.Unmarshal(request.Parameters, model.Interface()); err != nil {
			return nil, err
		}
		found := method.Call([]reflect.Value{model})
		if !found[1].IsNil() {
			return nil, found[1].Interface().(error)
		}
		return found[0].Elem().FieldByName("Body").Interface(), nil
	}, nil
}

func legacy(given settings) (call, error) {
	made := sdk.NewConfig().WithTimeout(timeoutMillis * time.Millisecond)
	made.WithAutoRetry(given.Attempts > 1).WithMaxRetryTime(max(given.Attempts-1, 0))
	if given.Ca != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(given.Ca)) {
			return nil, errors.New("ca has no certificate")
		}
		made.WithHttpTransport(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}})
	}
	client, err := sdk.NewClientWithOptions(given.Region, made, credentials.NewAccessKeyCredential(given.Key, given.Secret))
	if err != nil {
		return nil, err
	}
	return func(asked asked) (any, error) {
		request := requests.NewCommonRequest()
		request.Domain, request.Version, request.ApiName = given.Endpoint, asked.Version, asked.Action
		request.Scheme, request.Method = given.Protocol, "POST"
		for name, value := range asked.Flat {
			request.QueryParams[name] = value
		}
		found, err := client.ProcessCommonRequest(request)
		if err != nil {
			return nil, err
		}
		return json.RawMessage(found.GetHttpContentBytes()), nil
	}, nil
}

func describe(err error) problem {
	var throttled *openapi.ThrottlingError
	if errors.As(err, &throttled) {
		return problem{dara.StringValue(throttled.Code), err.Error(), dara.IntValue(throttled.StatusCode),
			dara.Int64Value(throttled.RetryAfter)}
	}
	var newer dara.ResponseError
	if errors.As(err, &newer) {
		return problem{Code: dara.StringValue(newer.GetCode()), Text: err.Error(), Status: dara.IntValue(newer.GetStatusCode())}
	}
	var converted *tea.SDKError // what the generic call makes of the others
	if errors.As(err, &converted) {
		return problem{Code: dara.StringValue(converted.Code), Text: err.Error(), Status: dara.IntValue(converted.StatusCode)}
	}
	var older legacyerrors.Error
	if errors.As(err, &older) {
		return problem{Code: older.ErrorCode(), Text: err.Error(), Status: older.HttpStatus()}
	}
	return problem{Code: fmt.Sprintf("%T", err), Text: err.Error()}
}
