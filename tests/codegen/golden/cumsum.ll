@zeros = private constant [16 x i8] zeroinitializer
!0 = !{i32 1}

declare i64 @llvm.smin.i64(i64, i64)
declare <8 x float> @llvm.masked.load.v8f32.p0(ptr, <8 x i1>, <8 x float>)
declare void @llvm.masked.store.v8f32.p0(<8 x float>, ptr, <8 x i1>)
declare i64 @llvm.smax.i64(i64, i64)
declare void @facula_parallel(ptr, ptr, i64)

define internal void @task(ptr %record, i64 %number) #0 {
entry:
  %.7 = alloca i64
  %.16 = alloca double
  %.17 = alloca i64
  %at.out.ptr = getelementptr i64, ptr %record, i64 0
  %out.ptr = load ptr, ptr %at.out.ptr, align 8
  %at.x.ptr = getelementptr i64, ptr %record, i64 1
  %x.ptr = load ptr, ptr %at.x.ptr, align 8
  %at.n0 = getelementptr i64, ptr %record, i64 2
  %n0 = load i64, ptr %at.n0, align 8
  %at.n1 = getelementptr i64, ptr %record, i64 3
  %n1 = load i64, ptr %at.n1, align 8
  %at.out.s0 = getelementptr i64, ptr %record, i64 4
  %out.s0 = load i64, ptr %at.out.s0, align 8
  %at.x.s0 = getelementptr i64, ptr %record, i64 5
  %x.s0 = load i64, ptr %at.x.s0, align 8
  %at.units = getelementptr i64, ptr %record, i64 7
  %units = load i64, ptr %at.units, align 8
  %at.grain = getelementptr i64, ptr %record, i64 8
  %grain = load i64, ptr %at.grain, align 8
  %.1 = mul i64 %out.s0, 4
  %.2 = mul i64 %x.s0, 4
  %.3 = icmp sgt i64 %n1, 0
  %.4 = mul i64 %number, %grain
  %.5 = add i64 %.4, %grain
  %.6 = call i64 @llvm.smin.i64(i64 %.5, i64 %units)
  store i64 %.4, ptr %.7
  %.9 = icmp slt i64 %.4, %.6
  br i1 %.9, label %loop.8, label %done.8
loop.8:
  %.10 = phi i64 [ %.4, %entry ], [ %.79, %done.46 ]
  %.11 = load i64, ptr %.7
  %.12 = mul i64 %.11, %.1
  %.13 = getelementptr i8, ptr %out.ptr, i64 %.12
  %.14 = mul i64 %.11, %.2
  %.15 = getelementptr i8, ptr %x.ptr, i64 %.14
  store double 0x8000000000000000, ptr %.16
  store i64 0, ptr %.17
  %.19 = sub i64 %n1, 8
  %.20 = add i64 %.19, 1
  %.21 = icmp slt i64 0, %.20
  br i1 %.21, label %loop.18, label %done.18
loop.18:
  %.22 = phi i64 [ 0, %loop.8 ], [ %.43, %loop.18 ]
  %.23 = mul i64 %.22, 4
  %.24 = getelementptr i8, ptr %.15, i64 %.23
  %.25 = load <8 x float>, ptr %.24, align 4
  %.26 = fpext <8 x float> %.25 to <8 x double>
  %.27 = load double, ptr %.16
  %.28 = shufflevector <8 x double> %.26, <8 x double> splat (double 0x8000000000000000), <8 x i32> <i32 8, i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6>
  %.29 = fadd <8 x double> %.28, %.26
  %.30 = shufflevector <8 x double> %.29, <8 x double> splat (double 0x8000000000000000), <8 x i32> <i32 8, i32 9, i32 0, i32 1, i32 2, i32 3, i32 4, i32 5>
  %.31 = fadd <8 x double> %.30, %.29
  %.32 = shufflevector <8 x double> %.31, <8 x double> splat (double 0x8000000000000000), <8 x i32> <i32 8, i32 9, i32 10, i32 11, i32 0, i32 1, i32 2, i32 3>
  %.33 = fadd <8 x double> %.32, %.31
  %.34 = extractelement <8 x double> %.33, i64 7
  %.35 = fadd double %.27, %.34
  store double %.35, ptr %.16
  %.36 = insertelement <8 x double> poison, double %.27, i64 0
  %.37 = shufflevector <8 x double> %.36, <8 x double> poison, <8 x i32> zeroinitializer
  %.38 = fadd <8 x double> %.37, %.33
  %.39 = fptrunc <8 x double> %.38 to <8 x float>
  %.40 = mul i64 %.22, 4
  %.41 = getelementptr i8, ptr %.13, i64 %.40
  store <8 x float> %.39, ptr %.41, align 4
  %.42 = add i64 %.22, 8
  store i64 %.42, ptr %.17
  %.43 = add i64 %.22, 8
  %.44 = icmp slt i64 %.43, %.20
  br i1 %.44, label %loop.18, label %done.18
done.18:
  %.45 = load i64, ptr %.17
  %.47 = icmp slt i64 %.45, %n1
  br i1 %.47, label %loop.46, label %done.46
loop.46:
  %.48 = phi i64 [ %.45, %done.18 ], [ %.75, %loop.46 ]
  %.49 = sub i64 %n1, %.48
  %.50 = call i64 @llvm.smin.i64(i64 %.49, i64 8)
  %.51 = sub i64 8, %.50
  %.52 = trunc i64 %.51 to i8
  %.53 = lshr i8 -1, %.52
  %.54 = bitcast i8 %.53 to <8 x i1>
  %.55 = mul i64 %.48, 4
  %.56 = getelementptr i8, ptr %.15, i64 %.55
  %.57 = call <8 x float> @llvm.masked.load.v8f32.p0(ptr align 4 %.56, <8 x i1> %.54, <8 x float> zeroinitializer)
  %.58 = fpext <8 x float> %.57 to <8 x double>
  %.59 = load double, ptr %.16
  %.60 = select <8 x i1> %.54, <8 x double> %.58, <8 x double> splat (double 0x8000000000000000)
  %.61 = shufflevector <8 x double> %.60, <8 x double> splat (double 0x8000000000000000), <8 x i32> <i32 8, i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6>
  %.62 = fadd <8 x double> %.61, %.60
  %.63 = shufflevector <8 x double> %.62, <8 x double> splat (double 0x8000000000000000), <8 x i32> <i32 8, i32 9, i32 0, i32 1, i32 2, i32 3, i32 4, i32 5>
  %.64 = fadd <8 x double> %.63, %.62
  %.65 = shufflevector <8 x double> %.64, <8 x double> splat (double 0x8000000000000000), <8 x i32> <i32 8, i32 9, i32 10, i32 11, i32 0, i32 1, i32 2, i32 3>
  %.66 = fadd <8 x double> %.65, %.64
  %.67 = extractelement <8 x double> %.66, i64 7
  %.68 = fadd double %.59, %.67
  store double %.68, ptr %.16
  %.69 = insertelement <8 x double> poison, double %.59, i64 0
  %.70 = shufflevector <8 x double> %.69, <8 x double> poison, <8 x i32> zeroinitializer
  %.71 = fadd <8 x double> %.70, %.66
  %.72 = fptrunc <8 x double> %.71 to <8 x float>
  %.73 = mul i64 %.48, 4
  %.74 = getelementptr i8, ptr %.13, i64 %.73
  call void @llvm.masked.store.v8f32.p0(<8 x float> %.72, ptr align 4 %.74, <8 x i1> %.54)
  %.75 = add i64 %.48, 8
  %.76 = icmp slt i64 %.75, %n1
  br i1 %.76, label %loop.46, label %done.46
done.46:
  %.77 = load i64, ptr %.7
  %.78 = add i64 %.77, 1
  store i64 %.78, ptr %.7
  %.79 = add i64 %.10, 1
  %.80 = icmp slt i64 %.79, %.6
  br i1 %.80, label %loop.8, label %done.8
done.8:
  ret void
}

define void @run(ptr %out.ptr, ptr %x.ptr, i64 %n0, i64 %n1, i64 %out.s0, i64 %x.s0) #0 {
entry:
  %record = alloca [18 x i64]
  %.1 = getelementptr i64, ptr %record, i64 0
  store ptr %out.ptr, ptr %.1, align 8
  %.2 = getelementptr i64, ptr %record, i64 1
  store ptr %x.ptr, ptr %.2, align 8
  %.3 = getelementptr i64, ptr %record, i64 2
  store i64 %n0, ptr %.3, align 8
  %.4 = getelementptr i64, ptr %record, i64 3
  store i64 %n1, ptr %.4, align 8
  %.5 = getelementptr i64, ptr %record, i64 4
  store i64 %out.s0, ptr %.5, align 8
  %.6 = getelementptr i64, ptr %record, i64 5
  store i64 %x.s0, ptr %.6, align 8
  %.7 = icmp eq i64 %n0, 0
  br i1 %.7, label %leave, label %work
work:
  %.8 = getelementptr i64, ptr %record, i64 7
  store i64 %n0, ptr %.8, align 8
  %.9 = getelementptr i64, ptr %record, i64 8
  store i64 %n0, ptr %.9, align 8
  %.10 = getelementptr i64, ptr %record, i64 9
  store i64 %n0, ptr %.10, align 8
  %.11 = getelementptr i64, ptr %record, i64 10
  store i64 1, ptr %.11, align 8
  %.12 = mul i64 %n0, %n1
  %.13 = icmp sgt i64 %.12, 50000
  br i1 %.13, label %then.14, label %done.14
then.14:
  %.15 = mul i64 1, %n1
  %.16 = call i64 @llvm.smax.i64(i64 %.15, i64 1)
  %.17 = udiv i64 19968, %.16
  %.18 = call i64 @llvm.smax.i64(i64 %.17, i64 1)
  %.19 = getelementptr i64, ptr %record, i64 7
  store i64 %n0, ptr %.19, align 8
  %.20 = getelementptr i64, ptr %record, i64 8
  store i64 %.18, ptr %.20, align 8
  %.21 = sub i64 %.18, 1
  %.22 = add i64 %n0, %.21
  %.23 = udiv i64 %.22, %.18
  call void @facula_parallel(ptr @task, ptr %record, i64 %.23)
  br label %leave
never.24:
  br label %done.14
done.14:
  call void @task(ptr %record, i64 0)
  br label %leave
leave:
  ret void
}

attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }
