// One call of one official Node client for each line of standard input. The first line has the settings, in JSON: client,
// endpoint, region, key, secret; each later one: product, version, action, parameters (nested), flat. Prints a line
// for each: the body, or the code of an error. NODE_PATH says where the clients are.
'use strict';

const readline = require('readline');

const TIMEOUT_MS = 60000; // of one request; the clients' own 3 s are too short for a machine under load

function popCore(settings) {
  const { RPCClient } = require('@alicloud/pop-core');
  return async (asked) => {
    const client = new RPCClient({
      endpoint: `http://${settings.endpoint}`, accessKeyId: settings.key, accessKeySecret: settings.secret, apiVersion: asked.version,
    });
    return client.request(asked.action, asked.flat, { method: 'POST', timeout: TIMEOUT_MS });
  };
}

function generic(settings) {
  const OpenApi = require('@alicloud/openapi-client');
  const { RuntimeOptions } = require('@alicloud/tea-util');
  const client = new OpenApi.default(config(settings));
  return async (asked) => {
    const params = new OpenApi.Params({
      action: asked.action, version: asked.version, protocol: 'HTTP', pathname: '/', method: 'POST', authType: 'AK',
      style: 'RPC', reqBodyType: 'formData', bodyType: 'json',
    });
    const request = new OpenApi.OpenApiRequest({ query: asked.flat });
    return (await client.callApi(params, request, new RuntimeOptions({}))).body;
  };
}

// The typed client: the request is cast to its model, and the answer read back from its model.
function typed(settings) {
  const ecs = require('@alicloud/ecs20140526');
  const { cast, toMap } = require('@alicloud/tea-typescript');
  const client = new ecs.default(config(settings));
  return async (asked) => {
    const request = cast(asked.parameters, new ecs[`${asked.action}Request`]({}));
    const method = asked.action[0].toLowerCase() + asked.action.slice(1);
    return toMap((await client[method](request)).body);
  };
}

function config(settings) {
  const { Config } = require('@alicloud/openapi-client');
  return new Config({
    accessKeyId: settings.key, accessKeySecret: settings.secret, endpoint: settings.endpoint, regionId: settings.region,
    protocol: 'HTTP', readTimeout: TIMEOUT_MS, connectTimeout: TIMEOUT_MS,
  });
}

const CLIENTS = { 'pop-core': popCore, 'openapi-client': generic, ecs20140526: typed };

async function answer(call, line) {
  try {
    return { body: await call(JSON.parse(line)) };
  } catch (problem) {
    return { code: problem.code || String(problem), text: problem.message };
  }
}

async function main() {
  let call = null;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let answered = {};
    if (call === null) {
      const settings = JSON.parse(line);
      call = CLIENTS[settings.client](settings);
    } else {
      answered = await answer(call, line);
    }
    process.stdout.write(`${JSON.stringify(answered)}\n`);
  }
}

main();
