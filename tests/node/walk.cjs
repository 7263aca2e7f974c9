// The demo's calls by one official Node client. Reads its settings from standard input, in JSON: client, protocol,
// endpoint, region, key, secret, instances (two), client_id. Prints one JSON object of what it saw. NODE_PATH says where
// the clients are.
'use strict';

const POLL_MS = 200; // between two requests for a task
const POLLS = 300;
const TIMEOUT_MS = 60000; // of one request; the clients' own 3 s are too short for a machine under load

const VERSIONS = { hbr: '2017-09-08', ecs: '2014-05-26', sts: '2015-04-01' };

// --- Each client as one function: (product, action, parameters) => answer; a refusal is thrown with its code ---------

function popCore(settings) {
  const { RPCClient } = require('@alicloud/pop-core');
  return (product, action, parameters) =>
    new RPCClient({
      endpoint: `${settings.protocol}://${settings.endpoint}`,
      accessKeyId: settings.key,
      accessKeySecret: settings.secret,
      apiVersion: VERSIONS[product],
    }).request(action, flat(parameters), { method: 'POST', timeout: TIMEOUT_MS });
}

function generic(settings) {
  const OpenApi = require('@alicloud/openapi-client');
  const { RuntimeOptions } = require('@alicloud/tea-util');
  const client = new OpenApi.default(config(settings));
  return async (product, action, parameters) => {
    const params = new OpenApi.Params({
      action, version: VERSIONS[product], protocol: settings.protocol.toUpperCase(), pathname: '/', method: 'POST',
      authType: 'AK', style: 'RPC', reqBodyType: 'formData', bodyType: 'json',
    });
    const request = new OpenApi.OpenApiRequest({ query: flat(parameters) });
    return (await client.callApi(params, request, new RuntimeOptions({}))).body;
  };
}

// JSON text for lists, as the typed clients write them.
function flat(parameters) {
  const text = (value) => (Array.isArray(value) ? JSON.stringify(value) : String(value));
  return Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, text(value)]));
}

function config(settings) {
  const { Config } = require('@alicloud/openapi-client');
  return new Config({
    accessKeyId: settings.key, accessKeySecret: settings.secret, endpoint: settings.endpoint, regionId: settings.region,
    protocol: settings.protocol.toUpperCase(), readTimeout: TIMEOUT_MS, connectTimeout: TIMEOUT_MS,
  });
}

// --- The walk ---------------------------------------------------------------------------------------------------------

async function backups(settings, call) {
  const regions = await call('hbr', 'DescribeRegions', {});
  const clients = await call('hbr', 'DescribeBackupClients', { ClientType: 'ECS_CLIENT', InstanceIds: settings.instances });
  const asked = { InstanceIds: [settings.instances[0]], ClientIds: [settings.client_id] };
  const started = await call('hbr', 'UpgradeBackupClients', asked);
  return {
    regions: regions.Regions.Region.map((region) => region.RegionId),
    clients: clients.Clients.map((client) => client.ClientId),
    statuses: started.InstanceStatuses,
    task: await over(call, started.TaskId),
    refused: await refusal(call('hbr', 'DescribeTask', { TaskId: 't-none' })),
    caller: (await call('sts', 'GetCallerIdentity', {})).AccountId,
  };
}

async function over(call, taskId) {
  const task = await until(
    () => call('hbr', 'DescribeTask', { TaskId: taskId }),
    (seen) => seen.Description !== 'created',
  );
  return { ...task, Result: JSON.parse(task.Result) };
}

async function until(poll, isOver) {
  for (let number = 0; number < POLLS; number += 1) {
    const seen = await poll();
    if (isOver(seen)) return seen;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error(`not over after ${POLLS} polls`);
}

// The typed client of Cloud Assistant: what its models make of the lists in our answers.
async function assistant(settings) {
  const ecs = require('@alicloud/ecs20140526');
  const client = new ecs.default(config(settings));
  const regionId = settings.region;
  const made = (await client.createActivation(new ecs.CreateActivationRequest({ regionId, instanceCount: 1 }))).body;
  const managed = (await client.describeManagedInstances(new ecs.DescribeManagedInstancesRequest({ regionId }))).body;
  const machines = (await client.describeInstances(new ecs.DescribeInstancesRequest({ regionId }))).body;
  const run = new ecs.RunCommandRequest({
    regionId, type: 'RunShellScript', commandContent: 'echo hello', instanceId: settings.instances, name: 'greeting',
    tag: [new ecs.RunCommandRequestTag({ key: 'made-by', value: 'node' })],
  });
  const invoked = (await client.runCommand(run)).body;
  const results = new ecs.DescribeInvocationResultsRequest({ regionId, invokeId: invoked.invokeId });
  const poll = async () => (await client.describeInvocationResults(results)).body.invocation.invocationResults;
  const found = await until(
    async () => (await poll()).invocationResult,
    (each) => each.every((result) => result.finishedTime),
  );
  const wrong = new ecs.DescribeInvocationsRequest({ regionId: 'nowhere' });
  return {
    code: Boolean(made.activationId && made.activationCode),
    managed: managed.instances.map((instance) => instance.instanceId),
    machines: machines.instances.instance.map((instance) => instance.instanceId),
    results: found.map((result) => [result.instanceId, result.errorCode]),
    tags: found.map((result) => result.tags.tag.map((tag) => [tag.tagKey, tag.tagValue])),
    refused: await refusal(client.describeInvocations(wrong)),
  };
}

async function refusal(call) {
  try {
    await call;
    return null;
  } catch (problem) {
    return problem.code;
  }
}

async function main() {
  const settings = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
  const walks = {
    'pop-core': () => backups(settings, popCore(settings)),
    'openapi-client': () => backups(settings, generic(settings)),
    ecs20140526: () => assistant(settings),
  };
  console.log(JSON.stringify(await walks[settings.client]()));
}

main().catch((problem) => {
  console.error(problem);
  process.exit(1);
});
