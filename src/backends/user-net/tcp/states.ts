/**
 * The states of a connection (RFC 9293 §3.3.2), and how one comes to its end: figure 5 from ESTABLISHED on. Runs on: main.
 */

export type TcpState =
  | 'listen' // the guest's SYN came; not answered yet
  | 'syn-sent'
  | 'syn-received'
  | 'established'
  | 'fin-wait-1'
  | 'fin-wait-2'
  | 'close-wait'
  | 'closing'
  | 'last-ack'
  | 'time-wait'
  | 'closed';

/** What brings a connection nearer to its end. */
export type Closing =
  /** Our side ends; its FIN is sent, or follows what is queued. */
  | 'end'
  /** The guest has acknowledged our FIN. */
  | 'fin-acknowledged'
  /** The guest's FIN came, behind all of its data. */
  | 'fin-received';

const NEXT: Readonly<Record<Closing, Readonly<Partial<Record<TcpState, TcpState>>>>> = {
  end: { established: 'fin-wait-1', 'close-wait': 'last-ack' },
  'fin-acknowledged': { 'fin-wait-1': 'fin-wait-2', closing: 'time-wait', 'last-ack': 'closed' },
  'fin-received': { established: 'close-wait', 'fin-wait-1': 'closing', 'fin-wait-2': 'time-wait' },
};

/** The state that follows; the same one where the event means nothing. */
export const following = (state: TcpState, event: Closing): TcpState => NEXT[event][state] ?? state;
