// What the DSDT of a machine with two vCPUs and two virtio devices should say, written by hand: ACPI 6.5 §5.2.11.1.
DefinitionBlock ("", "DSDT", 2, "TYPEVS", "MICROVM ", 1)
{
  Scope (\_SB)
  {
    OperationRegion (PMIO, SystemIO, 0x600, 8)
    Field (PMIO, ByteAcc, NoLock, Preserve)
    {
      Offset (3),
      LSTN, 8,
      EVTS, 8
    }
    Method (_INI, 0, NotSerialized) { LSTN = One }

    Device (C000) { Name (_HID, "ACPI0007") Name (_UID, Zero) }
    Device (C001) { Name (_HID, "ACPI0007") Name (_UID, One) }

    Device (COM1)
    {
      Name (_HID, EisaId ("PNP0501"))
      Name (_UID, Zero)
      Name (_CRS, ResourceTemplate ()
      {
        IO (Decode16, 0x3F8, 0x3F8, 1, 8)
        Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 4 }
      })
    }
    Device (RTC)
    {
      Name (_HID, EisaId ("PNP0B00"))
      Name (_CRS, ResourceTemplate () { IO (Decode16, 0x70, 0x70, 1, 2) })
    }
    Device (VGEN)
    {
      Name (_HID, "TYVS0001")
      Name (_CID, Package () { "VM_Gen_Counter", "VMGENCTR" })
      Name (_DDN, "VM_Gen_Counter")
      Name (ADDR, Package () { 0x000DF000, Zero })
    }
    Device (PWRB) { Name (_HID, EisaId ("PNP0C0C")) }

    Device (GED)
    {
      Name (_HID, "ACPI0013")
      Name (_UID, Zero)
      Name (_CRS, ResourceTemplate () { Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 9 } })
      Method (_EVT, 1, NotSerialized)
      {
        Local0 = EVTS
        If (Local0 & One) { Notify (\_SB.PWRB, 0x80) }
        If (Local0 & 2) { Notify (\_SB, 0x81) }
        If (Local0 & 4) { Notify (\_SB.VGEN, 0x80) }
      }
    }

    Device (V000)
    {
      Name (_HID, "LNRO0005")
      Name (_UID, Zero)
      Name (_CCA, One)
      Name (_CRS, ResourceTemplate ()
      {
        Memory32Fixed (ReadWrite, 0xC0001000, 0x1000)
        Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 5 }
      })
    }
    Device (V001)
    {
      Name (_HID, "LNRO0005")
      Name (_UID, One)
      Name (_CCA, One)
      Name (_CRS, ResourceTemplate ()
      {
        Memory32Fixed (ReadWrite, 0xC0002000, 0x1000)
        Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 6 }
      })
    }
  }
  Name (\_S5, Package () { 5, Zero, Zero, Zero })
}
