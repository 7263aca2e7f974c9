// Every time is shown in UTC; the viewer's own is shown on hover.
const own = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

export function showOwnTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) time.title = `${time.dateTime}\n${own.format(at)}`;
  }
}
