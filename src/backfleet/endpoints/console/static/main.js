import { startKeys } from "./keys.js";
import { startLive } from "./live.js";
import { startForms } from "./forms.js";
import { startSession } from "./session.js";
import { startCopying } from "./copy.js";
import { startUploads } from "./uploads.js";
import { showOwnTimes } from "./times.js";

showOwnTimes(document);
startKeys();
startForms();
startSession();
startLive();
startCopying();
startUploads();
